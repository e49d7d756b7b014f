/**
 * Groups comparisons into families. A family is one kind of comparison at several sizes: its members agree in every
 * setting in which arms of the section differ, except settings of the size. Names show how families differ, and the
 * capacity of each arm if it is not the same for all arms.
 */
import type { Contrast } from '../../contract.ts'
import { armsOf, type Runs } from '../runs.ts'
import {
  comparableValue,
  differingPaths,
  familyOf,
  routingOf,
  routingWithCapacity,
  speedOnly,
  valueText,
} from './routing.ts'

/** Settings of the size of a model. */
const sizes = new Set(
  ['vocabulary', 'layers', 'width', 'heads', 'sequence', 'hidden', 'moe.hidden', 'moe.experts', 'moe.groups'].map(
    (field) => `model.${field}`,
  ),
)

/** Whether a setting may go with the size, as training settings may. */
const goesWithSize = (path: string): boolean => path.startsWith('train.')

/** From a dense arm all of `model.moe` differs, including sizes, so only whether there are experts is compared. */
const kindValue = (runs: Runs, arm: string, path: string): string =>
  path === 'model.moe' ? String(runs.setting(arm, path) !== null) : comparableValue(runs, arm, path)

export interface FamilyKeys {
  /** A key that comparisons of one family share. @param strict Whether training settings are compared too. */
  of(contrast: Contrast, strict: boolean): string
  /** One name per family, all different. */
  names(families: readonly Contrast[]): string[]
}

export function familyKeys(runs: Runs, contrasts: readonly Contrast[]): FamilyKeys {
  const arms = armsOf(contrasts)
  const differing = new Set(arms.flatMap((arm) => differingPaths(runs, arms[0] ?? arm, arm)))
  const paths = [...differing].filter((path) => !sizes.has(path) && !speedOnly.includes(path)).sort()
  const routings = arms.map((arm) => routingOf(runs, arm)).filter((routing) => routing !== null)
  const nameOf =
    new Set(routings.map(({ capacity, factor }) => `${capacity} ${factor}`)).size > 1 ? routingWithCapacity : familyOf
  const both = ({ baseline, arm }: Contrast, path: string, write = kindValue) =>
    [baseline, arm].map((one) => write(runs, one, path))
  return {
    of: (contrast, strict) =>
      JSON.stringify(paths.filter((path) => strict || !goesWithSize(path)).map((path) => both(contrast, path))),
    names(families) {
      const short = families.map(
        ({ baseline, arm }) => `${nameOf(routingOf(runs, arm))} against ${nameOf(routingOf(runs, baseline))}`,
      )
      return families.map((family, i) => {
        const namesakes = families.filter((_, j) => short[j] === short[i])
        const separating = paths.filter((path) => new Set(namesakes.map((other) => String(both(other, path)))).size > 1)
        const words = separating.map((path) => {
          const [below, above] = both(family, path, valueText)
          return `${path.split('.').at(-1)} ${below === above ? above : `${above} against ${below}`}`
        })
        return words.length > 0 ? `${short[i]} (${words.join(', ')})` : (short[i] ?? '')
      })
    },
  }
}
