"""Meta-ACL: past students on disk, and teaching new ones from them."""
