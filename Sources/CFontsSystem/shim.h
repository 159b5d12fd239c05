// Only the compiler and linker flags of fontconfig and FreeType are wanted here; CVips holds the functions.
#pragma once
