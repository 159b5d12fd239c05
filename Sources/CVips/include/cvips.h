#pragma once
int tihua_vips_placeholder(void);
