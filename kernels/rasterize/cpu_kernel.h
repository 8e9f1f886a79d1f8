// What foreach_isa.h compiles per instruction set: the tile, forward, backward.
#include "cpu_tile.h"
#include "cpu_backward.h"
