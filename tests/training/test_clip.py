import numpy as np
from stepping import Linear, make, run

from modelzoo.optimizers import SGD


def test_each_bound_of_clipping():
    model = Linear()
    plain = SGD(1.0)

    def gradients(**settings):
        before = make(model, plain, **settings)[1].arrays()
        after, _ = run(model, plain, 1, **settings)
        names = sorted(n for n in before if n.startswith("model/"))
        return [before[n] - after[n] for n in names]

    free = gradients()
    for got, whole in zip(gradients(clip_value=0.01), free, strict=True):
        np.testing.assert_allclose(got, np.clip(whole, -0.01, 0.01), atol=1e-6)
    for got, whole in zip(gradients(clip_norm=0.05), free, strict=True):
        scale = min(1.0, 0.05 / np.linalg.norm(whole))
        np.testing.assert_allclose(got, whole * scale, atol=1e-6)
    together = np.sqrt(sum((g**2).sum() for g in free))
    for got, whole in zip(gradients(clip_global_norm=0.05), free, strict=True):
        np.testing.assert_allclose(got, whole * 0.05 / together, atol=1e-6)
