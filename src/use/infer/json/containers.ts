/** The grammars of JSON's objects and lists, whose items are called. Between two items may be one space. */
import { END, type GrammarNode, literal, node, nodesOf, oneMore, spaced } from './nodes.ts'

/** The nodes with one of which a value begins. They are known when the whole schema has been read. */
export type Starts = Iterable<GrammarNode>

/** A list of `min` to `max` items. */
export function list(items: Starts, min: number, max: number): GrammarNode {
  const make = nodesOf()
  const item = (count: number): GrammarNode =>
    make(`item${count}`, () => ({ call: { starts: items, after: after(oneMore(count, min, max)) } }))
  const after = (count: number): GrammarNode =>
    make(`after${count}`, () => ({
      also: [...(count >= min ? [close] : []), ...(count < max ? [spaced(',', item(count))] : [])],
    }))
  const close = literal(']', END)
  return literal(
    '[',
    node(() => ({ also: [...(min === 0 ? [close] : []), ...(max > 0 ? [item(0)] : [])] })),
  )
}

export interface Property {
  readonly name: string
  readonly value: Starts
  readonly isRequired: boolean
}

/** An object with these properties and no others, in their order. */
export function record(properties: readonly Property[]): GrammarNode {
  const make = nodesOf()
  const close = literal('}', END)
  const lastRequired = properties.findLastIndex(({ isRequired }) => isRequired)
  const members = properties.map(({ name, value }, i) =>
    literal(
      JSON.stringify(name),
      spaced(
        ':',
        make(`value${i}`, () => ({ call: { starts: value, after: after(i + 1) } })),
      ),
    ),
  )
  /** One of the properties from `i` on, up to the first that is required. */
  const member = (i: number): GrammarNode =>
    make(`member${i}`, () => {
      const required = properties.findIndex(({ isRequired }, j) => j >= i && isRequired)
      return { also: members.slice(i, required < 0 ? undefined : required + 1) }
    })
  const ends = (i: number) => (i > lastRequired ? [close] : [])
  const after = (i: number): GrammarNode =>
    make(`after${i}`, () => ({ also: [...ends(i), ...(i < members.length ? [spaced(',', member(i))] : [])] }))
  return literal(
    '{',
    node(() => ({ also: [...ends(0), member(0)] })),
  )
}

/** An object with properties of any names. */
export function dictionary(names: GrammarNode, values: Starts): GrammarNode {
  const make = nodesOf()
  const close = literal('}', END)
  const value = make('value', () => ({ call: { starts: values, after } }))
  const colon = spaced(':', value)
  const member = make('member', () => ({ call: { starts: [names], after: colon } }))
  const after: GrammarNode = make('after', () => ({ also: [close, comma] }))
  const comma = spaced(',', member)
  return literal(
    '{',
    node(() => ({ also: [close, member] })),
  )
}
