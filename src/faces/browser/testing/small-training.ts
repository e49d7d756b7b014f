/** A text and a model so small that even a GPU in software trains the model in a moment. */
import type { RunInput } from '../../../core/config/run-config.ts'

export const smallText = {
  name: 'notes.txt',
  content: 'the sea and the ship and the people of the sea. '.repeat(80),
}

/** A model with one token per byte. */
export const smallModel = {
  vocabulary: 257,
  layers: 1,
  width: 16,
  heads: 2,
  sequence: 16,
  hidden: 32,
  moe: { experts: 4, hidden: 32, router: 'top-k', k: 1 },
} as const satisfies RunInput['model']
