/**
 * CSS rules that colour tokens by expert. Each token has a class for its expert, whose rule sets colour, pattern and
 * number. So another layer changes only classes, and another theme changes nothing.
 */
import { colorOf, css, lineOf, patternOf, type Side } from './expert-colors.ts'

const experts = new CSSStyleSheet()
const mark = new CSSStyleSheet()
const sides = [0, 1] as const
let expertCount = 0

/** Adds rules until there are rules for `count` experts of each side. */
export function addExpertRules(count: number): void {
  if (expertCount === 0) document.adoptedStyleSheets = [...document.adoptedStyleSheets, experts, mark]
  for (; expertCount < count; expertCount++) for (const side of sides) addRules(expertCount, side)
}

/** The line is below the tokens of the first run, and above those of the second. */
function addRules(expert: number, side: Side): void {
  const both = (of: typeof colorOf) => `light-dark(${css(of(expert, 'light', side))}, ${css(of(expert, 'dark', side))})`
  const edge = side === 0 ? 'bottom' : 'top'
  const name = nameOf(expert, side)
  experts.insertRule(
    `.${name} { background-color: ${both(colorOf)}; border-${edge}: 2px ${patternOf(expert)} ${both(lineOf)} }`,
  )
  // The number follows the token, or the ⏎ of a token that ends its line.
  const number = `.numbered .${name}`
  experts.insertRule(`${number}:not([data-break])::after, ${number} > [data-last]::after { content: "${expert}" }`)
}

const marks: (number | null)[] = sides.map(() => null)

/**
 * Dims the tokens of all other experts of a side in texts with the class `marked`. There is a single rule for a side,
 * because the browser would try one rule per expert on every token. It sets colours and not opacity, which would create a
 * compositing layer per token.
 */
export function markExpert(expert: number, side: Side): void {
  marks[side] = expert
  const rules = sides.flatMap((each) => {
    const marked = marks[each]
    if (marked === null || marked === undefined) return []
    const others = `.marked .t.side-${each}:not(.${nameOf(marked, each)})`
    return [`${others} { color: var(--dim); background: none; border-color: transparent }`]
  })
  mark.replaceSync(rules.join('\n'))
}

const nameOf = (expert: number, side: Side): string => `${side === 0 ? 'e' : 'o'}${expert}`

/** Class of the colour of an expert. */
export const expertClass = (expert: number, side: Side): string => (expert < 0 ? 'none' : nameOf(expert, side))

/** Classes of a token: `t` for every token, its side, and `e17` or `o17` for its expert. */
export const classOf = (expert: number, side: Side): string => `t side-${side} ${expertClass(expert, side)}`
