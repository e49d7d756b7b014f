/** The built-in studies, each in two sizes. */
import type { Specification } from '../specification.ts'
import { m6t } from './m6t.ts'
import type { StudySize } from './sizes.ts'
import { witnesses } from './witnesses.ts'

export { type StudySize, studySizes } from './sizes.ts'

interface Builtin {
  /** Description in the help text. */
  readonly description: string
  specification(size: StudySize): Specification
}

export const builtinStudies = {
  m6t: { description: 'the questions of the M6-T paper', specification: m6t },
  witnesses: { description: 'published trends of other studies, tested here', specification: witnesses },
} as const satisfies Record<string, Builtin>

export type BuiltinStudy = keyof typeof builtinStudies
export const builtinNames = Object.keys(builtinStudies) as readonly BuiltinStudy[]

export const studySizeDescriptions: Readonly<Record<StudySize, string>> = {
  quick: 'a small model and few arms; 13 minutes on two cores',
  standard: 'a larger model, every arm, four seeds and a learning rate for each arm; takes a night',
}
