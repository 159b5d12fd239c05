#pragma once
#ifdef __cplusplus
extern "C" {
#endif
int ct_placeholder(void);
#ifdef __cplusplus
}
#endif
