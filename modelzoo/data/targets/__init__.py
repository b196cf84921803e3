"""Targets: from columns to labels."""
