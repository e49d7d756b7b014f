/**
 * Draws how wrong the planner is: a row for each system, a dot for each of its published step times, at the ratio of
 * predicted to published, by class of programs. A dot is predicted with constants to which no row of its system was
 * fitted. The tint is the 80 % interval of a plan for the class, so about four of five dots should be in it.
 */
import { median } from '../../../src/core/averages.ts'
import { fixed } from '../../../src/core/text/numbers.ts'
import { type Program, programs } from '../../../src/tools/plan/inputs/constants.ts'
import { letters, notes, rowLine, rowsPlane } from '../../../src/tools/report/figures/axes.ts'
import { type Body, isNarrow } from '../../../src/tools/report/figures/body.ts'
import { scaleOf } from '../../../src/tools/report/figures/scale.ts'
import { textWidth, truncate } from '../../../src/tools/report/figures/text.ts'
import { type Child, element } from '../../../src/tools/report/markup.ts'
import { programOf } from '../accuracy/published.ts'
import type { Validation } from '../accuracy/validation.ts'

/** Rules in addition to the style of figures. */
export const plannerStyle = `.plot .interval80 { fill-opacity: 0.13 } .plot .row-time { fill-opacity: 0.75 }
.plot .class-name { font-weight: 600 }
`

/** Height of a row and of a heading, and in a narrow figure of the name above a row, in pixels. */
const ROW = 17
const HEADING = 24
const NAME = 15

const headings: Readonly<Record<Program, string>> = { megatron: 'Megatron-like programs', fsdp: 'PyTorch FSDP' }

export function plannerBody({ rows, factors }: Pick<Validation, 'rows' | 'factors'>, width: number): Body {
  const narrow = isNarrow(width)
  const times = rows.filter(({ metric }) => metric === 'step time')
  const classes = programs.map((program) => {
    const factor = factors[program].stepTime
    const systems = systemsOf(times.filter(({ row }) => programOf(row) === program))
    const all = systems.flatMap(({ ratios }) => ratios)
    return { program, factor, systems, all, held: all.filter((ratio) => isWithin(ratio, factor)).length }
  })
  const systems = classes.flatMap(({ systems }) => systems)
  const beside = Math.min(0.4 * width, Math.max(...systems.map(({ name }) => textWidth(name, letters.text)))) + 12
  const left = narrow ? 8 : beside
  const right = width - 16
  const ratios = classes.flatMap(({ all, factor }) => [...all, factor])
  const reach = Math.max(...ratios.map((ratio) => Math.max(ratio, 1 / ratio)))
  const x = scaleOf('log', [1 / reach, reach], [left, right], narrow ? 3 : 6)
  const top = 28
  const row = ROW + (narrow ? NAME : 0)
  const bottom = top + HEADING * classes.length + row * systems.length
  const places = classes.map((each, i) => {
    const before = classes.slice(0, i)
    const first = top + HEADING * (i + 1) + row * before.reduce((sum, { systems }) => sum + systems.length, 0)
    return { ...each, first, end: first + row * each.systems.length }
  })
  const both = (value: (each: (typeof classes)[number]) => string) => classes.map(value).join(' and ')
  const held = `${both(({ factor }) => `×${fixed(factor, 2)}`)}, which holds ${both(({ held, all }) => `${held} of ${all.length}`)} of them`
  const small = notes(
    [
      `${times.length} published step times of ${systems.length} systems, each predicted with constants fitted to the other systems.`,
      `Tinted: the 80 % interval of a plan for each class of programs, ${held}. The others have another colour.`,
    ],
    width,
    bottom + 48,
  )
  const ends = [...systems].sort((a, b) => a.middle - b.middle)
  return {
    height: small.end + 2,
    description: `${times.length} published step times of ${systems.length} systems. The 80 % interval of a plan is ${held}. Medians of predicted over published reach from ${fixed(ends[0]?.middle, 2)} (${ends[0]?.name}) to ${fixed(ends.at(-1)?.middle, 2)} (${ends.at(-1)?.name}).`,
    markup: [
      element('text', { class: 'side', x: x.at(1) - 8, y: top - 10, 'text-anchor': 'end' }, '← predicted faster'),
      element('text', { class: 'side', x: x.at(1) + 8, y: top - 10 }, 'predicted slower →'),
      rowsPlane(x, 'predicted over published step time', { left, right, top, bottom }, width),
      places.map(({ factor, first, end }): Child => {
        const [low, high] = [x.at(1 / factor), x.at(factor)]
        return element('rect', { class: 'f0 interval80', x: low, y: first, width: high - low, height: end - first })
      }),
      element('line', { class: 'zero', x1: x.at(1), x2: x.at(1), y1: top, y2: bottom }),
      places.map(
        ({ program, factor, systems, first }): Child => [
          element('text', { class: 'halo class-name', x: 2, y: first - 7 }, headings[program]),
          systems.map(({ name, ratios }, i): Child => {
            const end = first + row * (i + 1)
            const y = end - ROW / 2
            const label = { class: 'halo', x: 2, y: narrow ? y - NAME + 4 : y + 4 }
            return [
              element('text', label, truncate(name, letters.text, narrow ? width : left - 14)),
              ratios.map((ratio) => {
                const colour = isWithin(ratio, factor) ? 'f0' : 'f1'
                return element('circle', { class: `row-time ${colour}`, cx: x.at(ratio), cy: y, r: 3.5 })
              }),
              rowLine(end, width),
            ]
          }),
        ],
      ),
      small.markup,
    ],
  }
}

/** The interval ends at one of the ratios, which is within it whatever the rounding. */
const isWithin = (ratio: number, factor: number): boolean => Math.max(ratio, 1 / ratio) <= factor * (1 + 1e-9)

/** The systems of some step times with their ratios of predicted to published, the fastest predictions first. */
function systemsOf(times: Validation['rows']) {
  const names = [...new Set(times.map(({ row }) => row.system))]
  const systems = names.map((name) => {
    const own = times.filter(({ row }) => row.system === name)
    const ratios = own.map(({ predictedLeftOut, published }) => predictedLeftOut / published)
    return { name, ratios, middle: median(ratios) }
  })
  return systems.sort((a, b) => a.middle - b.middle)
}
