"""What every option of a group keeps, as checks that options of one's own pass as well."""
