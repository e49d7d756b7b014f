/**
 * The rules that colour tokens by expert. Tokens carry a class for their expert; a rule for each gives colour,
 * pattern and number, so that another layer changes classes and nothing else, and a theme changes nothing at all.
 */
import { colorOf, css, lineOf, patternOf } from './expert-colors.ts'

const experts = new CSSStyleSheet()
const mark = new CSSStyleSheet()
let ruled = 0

/** Sees to it that there are rules for this many experts. */
export function ruleExperts(wanted: number): void {
  if (ruled === 0) document.adoptedStyleSheets = [...document.adoptedStyleSheets, experts, mark]
  for (; ruled < wanted; ruled++) {
    const ground = `light-dark(${css(colorOf(ruled, 'light'))}, ${css(colorOf(ruled, 'dark'))})`
    const line = `light-dark(${css(lineOf(ruled, 'light'))}, ${css(lineOf(ruled, 'dark'))})`
    experts.insertRule(`.e${ruled} { background-color: ${ground}; border-bottom: 2px ${patternOf(ruled)} ${line} }`)
    // Behind a token; of one that ends its line, behind the sign for that.
    const number = `.numbered .e${ruled}`
    experts.insertRule(`${number}:not([data-break])::after, ${number} > [data-last]::after { content: "${ruled}" }`)
  }
}

/**
 * Lets the tokens of one expert stand out in every text with the class `marked`. One rule, not one for every
 * expert, as each would be tried on every token; and through colours, not opacity, which costs a layer a token.
 */
export function markExpert(expert: number | null): void {
  mark.replaceSync(
    expert === null
      ? ''
      : `.marked .t:not(.e${expert}) { color: var(--dim); background: none; border-color: transparent }`,
  )
}

/** Of a token in a text: `t` for every token, `e17` for its expert. */
export const classOf = (expert: number): string => (expert < 0 ? 't none' : `t e${expert}`)
