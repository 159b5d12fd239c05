#include "cvips.h"
int tihua_vips_placeholder(void) { return 0; }
