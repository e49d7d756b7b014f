/**
 * Parameters that a training leaves as they are (`train.freeze`). Patterns are matched with the names of tensors, which
 * have `*` for the index of an expert: `layers.0.moe.experts.*.up` has all experts of a layer, which are frozen
 * together.
 */
import { ANY, matchesParts, type PatternPart } from '../text/wildcard.ts'
import type { ParameterSpec } from './parameters.ts'

/** Name of a tensor in patterns and messages. */
export const patternName = ({ name }: Pick<ParameterSpec, 'name'>): string => name.replace('{e}', '*')

/**
 * Whether a pattern matches a name, or the beginning of a name up to a dot: `layers.0` and `layers.0.*` match all
 * tensors of a layer, and `*.router` also the biases of a router. `*` stands for any characters, dots included.
 */
export const matchesName = (pattern: string, name: string): boolean => nameMatcher(pattern)(name)

/** {@link matchesName} for one pattern and many names. */
export function nameMatcher(pattern: string): (name: string) => boolean {
  if (!pattern.includes('*')) return (name) => name === pattern || name.startsWith(`${pattern}.`)
  const whole = Array.from(pattern, (character): PatternPart => (character === '*' ? ANY : character))
  const above: readonly PatternPart[] = [...whole, '.', ANY]
  return (name) => {
    const text = [...name]
    return matchesParts(whole, text) || matchesParts(above, text)
  }
}

/** The specifications; those that a pattern matches are marked as frozen. */
export function withFrozen(specs: readonly ParameterSpec[], patterns: readonly string[]): ParameterSpec[] {
  const matchers = patterns.map(nameMatcher)
  const isFrozen = (spec: ParameterSpec) => matchers.some((matches) => matches(patternName(spec)))
  return specs.map((spec) => (isFrozen(spec) ? { ...spec, frozen: true } : spec))
}

/**
 * Patterns that a misspelt one may have meant: names, with and without the number of their layer, and parts of them.
 */
export function patternsOf(specs: readonly ParameterSpec[]): Set<string> {
  const patterns = new Set<string>()
  for (const name of specs.map(patternName))
    for (const form of [name, name.replace(/^layers\.\d+/, 'layers.*')]) {
      const parts = form.split('.')
      parts.forEach((_, i) => {
        patterns.add(parts.slice(0, i + 1).join('.'))
        if (i + 1 < parts.length) patterns.add(`${parts.slice(0, i + 1).join('.')}.*`)
        if (i > 0) patterns.add(`*.${parts.slice(i).join('.')}`)
      })
    }
  return patterns
}
