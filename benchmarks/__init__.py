"""Demitasse beside other engines: never imported by the product."""
