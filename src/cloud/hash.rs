//! SHA-256, HMAC-SHA-256 and hexadecimal, in the shapes that signatures use.
