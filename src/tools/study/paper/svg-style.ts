/**
 * Resolves the style sheet of figures for programs that draw without a browser. It knows the selectors that this sheet
 * has, `.plot TAG.CLASS.CLASS`, and refuses others.
 */

/** Presentation properties by name, such as `stroke-width`. */
export type Style = Readonly<Record<string, string>>

interface Rule {
  readonly tag: string | undefined
  readonly classes: readonly string[]
  readonly style: Style
}

/** @param css A style sheet without nesting; rules of media queries are left out. @throws internal error */
export function rulesOf(css: string): readonly Rule[] {
  const [light = ''] = css.split('@media')
  return (
    light
      .split('}')
      .map((rule) => rule.split('{'))
      .filter((parts) => parts.length === 2)
      .flatMap(([selectors = '', declarations = '']) =>
        selectors.split(',').map((selector): Rule => {
          const [, tag, classes = ''] = /^\.plot (?:([a-z]+)|(?=\.))((?:\.[\w-]+)*)$/.exec(selector.trim()) ?? [
            undefined,
          ]
          if (tag === undefined && classes === '')
            throw new Error(`internal: style of figures with "${selector.trim()}"`)
          return { tag, classes: classes.split('.').filter((name) => name !== ''), style: declarationsOf(declarations) }
        }),
      )
      .map((rule, i) => ({ rule, i }))
      // A later rule wins over an earlier one of the same specificity.
      .sort((a, b) => specificity(a.rule) - specificity(b.rule) || a.i - b.i)
      .map(({ rule }) => rule)
  )
}

const specificity = ({ tag, classes }: Rule): number => classes.length * 10 + (tag === undefined ? 0 : 1)

function declarationsOf(text: string): Style {
  const pairs = text.split(';').flatMap((declaration): (readonly [string, string])[] => {
    const [name = '', value] = declaration.split(/:(.*)/s)
    return value === undefined ? [] : [[name.trim(), value.trim()]]
  })
  return Object.fromEntries(
    pairs.flatMap(([name, value]) => {
      // `12px system-ui, ...`: only the size matters, since a PDF has fonts of its own.
      const size = name === 'font' ? /\b(\d+)px/.exec(value)?.[1] : undefined
      return size === undefined ? [[name, value]] : [['font-size', size]]
    }),
  )
}

/** The style of an element; its attributes give way to the rules. */
export function styleOf(rules: readonly Rule[], tag: string, attributes: Readonly<Record<string, string>>): Style {
  const own = new Set((attributes.class ?? '').split(' '))
  const matching = rules.filter(
    (rule) => (rule.tag === undefined || rule.tag === tag) && rule.classes.every((name) => own.has(name)),
  )
  return Object.assign({ ...attributes }, ...matching.map(({ style }) => style))
}
