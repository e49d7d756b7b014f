/** What a reader has chosen, all of it in the address, so that a link shows the same. */
import type { Signal } from '@preact/signals'
import { inAddress, index, number, oneOf } from '../../web/src/shared/view-state.ts'
import { rules } from './refusals.ts'

/** Recorded trainings, by the name in docs/results/routing.json. */
export const trainings = ['top-1', 'top-2', 'prototypes-2x1', 'no-balancing'] as const
export type Training = (typeof trainings)[number]

const limits = { least: 0.25, most: 4, step: 0.25 } as const
export const factorLimits = limits

const factorCodec = {
  write: number.write,
  read: (text: string) => {
    const value = number.read(text)
    const isOffered =
      value !== undefined && value >= limits.least && value <= limits.most && Number.isInteger(value / limits.step)
    return isOffered ? value : undefined
  },
}

export const factor = inAddress('factor', factorCodec, 1.25)
export const rule = inAddress('room', oneOf(rules), 'kx')
export const layer = inAddress('layer', index, 1)

/** The training that each picture shows. */
export const shown = {
  router: inAddress('router-of', oneOf(['top-1', 'no-balancing'] as const), 'top-1'),
  k: inAddress('k', oneOf(['top-1', 'top-2'] as const), 'top-1'),
  capacity: inAddress('full', oneOf(['top-1', 'no-balancing', 'top-2'] as const), 'top-1'),
  prototypes: inAddress('two', oneOf(['top-2', 'prototypes-2x1'] as const), 'top-2'),
}
export type Picture = keyof typeof shown

/** Answers that a claim can have; the guess of a reader is one of them, or none yet. */
export const guesses = ['holds', 'does not hold', 'undecided'] as const
export type Guess = (typeof guesses)[number]
export const guessOf = (lesson: string): Signal<Guess | 'none'> =>
  inAddress(`guess-${lesson}`, oneOf(['none', ...guesses] as const), 'none')
