//! Keys and values of attention in 8 and 4 bits.
