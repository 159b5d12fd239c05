/* Only the compiler flags of libvips are wanted here; CVips holds the functions. */
