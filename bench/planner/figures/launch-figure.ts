/**
 * Draws the layout of a training on several hosts as `choir launch` decides it: hosts with their cores, the rank that
 * runs on each group of cores, and the experts that the rank holds. Ranks of one colour share a copy of all experts.
 */

import type { Layout } from '../../../src/tools/launch/layout.ts'
import { notes } from '../../../src/tools/report/figures/axes.ts'
import { type Body, isNarrow } from '../../../src/tools/report/figures/body.ts'
import { type Child, element } from '../../../src/tools/report/markup.ts'
import { heldExperts } from '../../../src/train/step/store/placement.ts'

/** Rules in addition to the style of figures. */
export const launchStyle = `.plot .held { fill-opacity: 0.16; stroke-width: 1.5 } .plot .core { stroke-width: 1.2; fill-opacity: 0.7 }
`

interface Example {
  readonly layout: Layout
  /** Size of an expert-parallel group, and the experts of a layer. */
  readonly expert: number
  readonly experts: number
}

const [GAP, HEAD, CELL] = [20, 26, 92]

export function launchBody({ layout, expert, experts }: Example, width: number): Body {
  const narrow = isNarrow(width)
  const { hosts, ranks, threads } = layout
  if (!hosts) throw new Error('internal: the layout has no hosts')
  const columns = narrow ? 1 : hosts.length
  const each = (width - (columns - 1) * GAP) / columns
  const perRow = narrow ? 2 : Math.max(...hosts.map(({ slots }) => slots))
  const cell = (each - 16 - (perRow - 1) * 8) / perRow
  const heightOf = (slots: number) => HEAD + Math.ceil(slots / perRow) * (CELL + 8) + 6
  let rank = 0
  let [top, lowest] = [0, 0]
  const described: string[] = []
  const markup = hosts.map(({ name, slots }, i): Child => {
    const column = i % columns
    if (column === 0) top = lowest + (i > 0 ? GAP : 0)
    const [left, above, height] = [column * (each + GAP), top, heightOf(slots)]
    lowest = Math.max(lowest, top + height)
    const here = Math.min(slots, ranks - rank)
    const cells = Array.from({ length: here }, (_, slot): Child => {
      const number = rank++
      const { first, count } = heldExperts(experts, { rank: number, expert })
      const held = `experts ${first}–${first + count - 1}`
      described.push(`rank ${number} on ${name}: ${held}`)
      const x = left + 8 + (slot % perRow) * (cell + 8)
      const y = above + HEAD + Math.floor(slot / perRow) * (CELL + 8)
      const group = Math.floor(number / expert)
      const size = Math.min(18, (cell - 16 - 4 * (threads - 1)) / threads)
      return [
        element('rect', { class: `held s${group} f${group}`, x, y, width: cell, height: CELL, rx: 5 }),
        element('text', { class: 'label', x: x + 8, y: y + 20 }, `rank ${number}`),
        element('text', { class: 'small', x: x + 8, y: y + 38 }, held),
        Array.from({ length: threads }, (_, core) =>
          element('rect', {
            class: `core s${group} f${group}`,
            x: x + 8 + core * (size + 4),
            y: y + 50,
            width: size,
            height: size,
            rx: 2,
          }),
        ),
        element('text', { class: 'small', x: x + 8, y: y + 84 }, `${threads} threads`),
      ]
    })
    return [
      element('rect', { class: 'frame', x: left, y: above, width: each, height, rx: 6 }),
      element('text', { class: 'label', x: left + 10, y: above + 18 }, `host ${name}`),
      cells,
    ]
  })
  const groups = ranks / expert
  const small = notes(
    [
      `A square is a thread on a physical core. Ranks of one colour share all ${experts} experts of a layer: tokens travel among them (all-to-all).`,
      groups > 1 ? `The ${groups} groups compute parts of the batch, and add their gradients.` : '',
    ].filter((text) => text !== ''),
    width,
    lowest + 24,
  )
  return { height: small.end + 2, markup: [markup, small.markup], description: `${described.join('; ')}.` }
}
