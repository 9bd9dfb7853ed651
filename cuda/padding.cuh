// What a baseline meets off a map, and multiplies as it would a zero put there.
#pragma once
#include "numeric.cuh"

__device__ const Storage padding = {};
