/** Packs rows of kept choices expert by expert: T tokens with K choices each, G groups of tokens, N experts, R rows. */
import * as declared from '../../../../../core/graph/kernels/pack-rows.ts'
import { implement, type KernelTensor } from '../../contract.ts'

const first = ({ offset }: KernelTensor): number => offset / 4

export const packRows = implement(declared.packRows, {
  provider: 'WASM',
  prepare({ attributes: { capacity, tile }, inputs, outputs }, { integers, floats }) {
    const { expert_TK: expert, position_TK: position, kept_GN: kept } = inputs
    const { sizes, rowOfChoice_TK: rowOf, choiceOfRow_R: choiceOf, tokenOfRow_R: tokenOf } = outputs
    const { kept_TK: isKept, occupied_R: isUsed } = outputs
    const choices = expert.shape[1] as number
    const [groups, experts] = kept.shape as [number, number]
    const rows = choiceOf.size
    const ofGroup = expert.size / groups
    /** The first row of the choices of each group and expert [G, N]. */
    const begin = new Int32Array(groups * experts)

    const layOut = (): void => {
      let row = 0
      for (let e = 0; e < experts; e++) {
        const from = row
        for (let g = 0; g < groups; g++) {
          begin[g * experts + e] = row
          row += integers[first(kept) + g * experts + e] as number
        }
        row = from + Math.ceil((row - from) / tile) * tile
        setSize(e, row - from)
      }
      setSize(experts, rows - row)
    }
    const setSize = (at: number, size: number): void => {
      integers[first(sizes) + 2 * at] = size
      integers[first(sizes) + 2 * at + 1] = 0
    }

    return {
      tasks: 1,
      run() {
        layOut()
        for (const empty of [choiceOf, tokenOf]) integers.fill(0, first(empty), first(empty) + rows)
        if (isUsed) floats.fill(0, first(isUsed), first(isUsed) + rows)
        for (let choice = 0; choice < expert.size; choice++) {
          const place = integers[first(position) + choice] as number
          const fits = place < capacity
          const group = Math.floor(choice / ofGroup)
          const row = fits
            ? (begin[group * experts + (integers[first(expert) + choice] as number)] as number) + place
            : 0
          integers[first(rowOf) + choice] = row
          floats[first(isKept) + choice] = fits ? 1 : 0
          if (!fits) continue
          integers[first(choiceOf) + row] = choice
          integers[first(tokenOf) + row] = Math.floor(choice / choices)
          if (isUsed) floats[first(isUsed) + row] = 1
        }
      },
    }
  },
})
