// Only the compiler flags of GLib are wanted here; CVips holds the functions and links libvips.
// (vips.pc would add -pthread, which SwiftPM refuses with a warning; vips.h itself is on the default path.)
#pragma once
