/**
 * Which comparisons are one family at several sizes: those that agree in every setting in which the arms of
 * the section differ, besides what makes a model large. Where families differ, names show how.
 */
import type { Contrast } from '../../contract.ts'
import { armsOf, type Runs } from '../runs.ts'
import { comparableValue, differences, familyOf, routingOf, speedOnly, valueText } from './routing.ts'

/** Settings that make a model large. */
const sizes = new Set(
  [...['vocabulary', 'layers', 'width', 'heads', 'sequence', 'hidden', 'moe.hidden', 'moe.experts', 'moe.groups']].map(
    (field) => `model.${field}`,
  ),
)

/** Settings that may go with the size: how a model is trained. */
const goesWithSize = (path: string): boolean => path.startsWith('train.')

/** Beside a dense arm all of `model.moe` differs, sizes included: here it is only whether there are experts. */
const kindValue = (runs: Runs, arm: string, path: string): string =>
  path === 'model.moe' ? String(runs.setting(arm, path) !== null) : comparableValue(runs, arm, path)

export interface Kinds {
  /** Equal for comparisons of one family. @param strict also by how they are trained */
  of(contrast: Contrast, strict: boolean): string
  /** A name each, different where the families are. */
  names(families: readonly Contrast[]): string[]
}

export function kindsOf(runs: Runs, contrasts: readonly Contrast[]): Kinds {
  const arms = armsOf(contrasts)
  const differing = new Set(arms.flatMap((arm) => differences(runs, arms[0] ?? arm, arm)))
  const paths = [...differing].filter((path) => !sizes.has(path) && !speedOnly.includes(path)).sort()
  const both = ({ baseline, arm }: Contrast, path: string, write = kindValue) =>
    [baseline, arm].map((one) => write(runs, one, path))
  return {
    of: (contrast, strict) =>
      JSON.stringify(paths.filter((path) => strict || !goesWithSize(path)).map((path) => both(contrast, path))),
    names(families) {
      const short = families.map(
        ({ baseline, arm }) => `${familyOf(routingOf(runs, arm))} against ${familyOf(routingOf(runs, baseline))}`,
      )
      return families.map((family, i) => {
        const namesakes = families.filter((_, j) => short[j] === short[i])
        const apart = paths.filter((path) => new Set(namesakes.map((other) => String(both(other, path)))).size > 1)
        const words = apart.map((path) => {
          const [below, above] = both(family, path, valueText)
          return `${path.split('.').at(-1)} ${below === above ? above : `${above} against ${below}`}`
        })
        return words.length > 0 ? `${short[i]} (${words.join(', ')})` : (short[i] ?? '')
      })
    },
  }
}
