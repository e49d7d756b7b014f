/**
 * CSS rules that colour tokens by expert. Each token has a class for its expert, whose rule sets colour, pattern and
 * number. So another layer changes only classes, and another theme changes nothing.
 */
import { colorOf, css, lineOf, patternOf } from './expert-colors.ts'

const experts = new CSSStyleSheet()
const mark = new CSSStyleSheet()
let ruleCount = 0

/** Adds rules until there are rules for `count` experts. */
export function addExpertRules(count: number): void {
  if (ruleCount === 0) document.adoptedStyleSheets = [...document.adoptedStyleSheets, experts, mark]
  for (; ruleCount < count; ruleCount++) {
    const ground = `light-dark(${css(colorOf(ruleCount, 'light'))}, ${css(colorOf(ruleCount, 'dark'))})`
    const line = `light-dark(${css(lineOf(ruleCount, 'light'))}, ${css(lineOf(ruleCount, 'dark'))})`
    experts.insertRule(
      `.e${ruleCount} { background-color: ${ground}; border-bottom: 2px ${patternOf(ruleCount)} ${line} }`,
    )
    // The number follows the token, or the ⏎ of a token that ends its line.
    const number = `.numbered .e${ruleCount}`
    experts.insertRule(`${number}:not([data-break])::after, ${number} > [data-last]::after { content: "${ruleCount}" }`)
  }
}

/**
 * Dims the tokens of all other experts in texts with the class `marked`. There is a single rule, because the browser
 * would try one rule per expert on every token. It sets colours and not opacity, which would create a compositing layer
 * per token.
 */
export function markExpert(expert: number | null): void {
  mark.replaceSync(
    expert === null
      ? ''
      : `.marked .t:not(.e${expert}) { color: var(--dim); background: none; border-color: transparent }`,
  )
}

/** Classes of a token: `t` for every token, `e17` for its expert. */
export const classOf = (expert: number): string => (expert < 0 ? 't none' : `t e${expert}`)
