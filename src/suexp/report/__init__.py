"""What a reader sees: figures, pages, the site, dashboards."""
