"""Hydra finds the plugin because this is a package; hydra_plugins itself must not be one."""
