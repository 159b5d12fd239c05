// Nothing of libtorch is imported: the module stands for the flags that pkg-config knows (tihua-libtorch.pc).
