"""What every vendor folder is built with: settings, the gated HTTP client, the description of a vendor."""
