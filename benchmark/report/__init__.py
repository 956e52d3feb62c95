"""What finished runs are shown as: tables, figures, one page."""
