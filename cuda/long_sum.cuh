// A sum of any length in three levels. A chain of additions of numbers of one sign errs by half a unit in the last
// place for each of them, so chains are short, and the sums of chains are added in chains of their own. For n numbers
// the error is at most 8 * sqrt(n) units, where one chain would err by n / 2; docs/how_it_works.md has the arithmetic.
#pragma once
#include "numeric.cuh"

// Terms of a chain, and chains whose sums are added to each other before they are added to the total.
#define CHAIN_TERMS 128
#define CHAINS 256

// Terms of one turn of the loop: of the largest elements, more of them spill registers with 64-bit indices.
#define UNROLLED (sizeof(Index) * sizeof(Compute) > 64 ? 2 : 4)

struct LongSum {
    Compute chain, chains, total;
    int room;  // terms until the chains are added to the total; a multiple of CHAIN_TERMS where a chain ends

    // A sum that begins with one number.
    __device__ __forceinline__ explicit LongSum(Compute first)
        : chain(first), chains(Compute{}), total(Compute{}), room(CHAINS * CHAIN_TERMS)
    {
    }

    // Add `count` terms: `term` takes the number of one and a sum, and returns the sum with that term.
    template <class Term>
    __device__ __forceinline__ void add_terms(Index count, const Term& term)
    {
        for (Index i = 0; i < count;) {
            const int of_chain = (room - 1) % CHAIN_TERMS + 1;
            const Index end = count - i < of_chain ? count : i + of_chain;
            room -= (int)(end - i);
#pragma unroll(UNROLLED)
            for (; i < end; i++)
                chain = term(i, chain);
            if (room % CHAIN_TERMS == 0)
                end_chain();
        }
    }

    __device__ __forceinline__ void end_chain()
    {
        chains = add(chain, chains);
        chain = Compute{};
        if (room == 0) {
            total = add(chains, total);
            chains = Compute{};
            room = CHAINS * CHAIN_TERMS;
        }
    }

    __device__ __forceinline__ Compute value() const { return add(add(chain, chains), total); }
};
