//! What files, packages and disk images will measure when they boot.
