/**
 * Draws how wrong the planner is: a row for each system, a dot for each of its published step times, at the ratio of
 * predicted to published. A dot is predicted with constants to which no row of its system was fitted. The tint is the
 * 80 % interval of a plan, so about four of five dots should be in it.
 */
import { median } from '../../src/core/averages.ts'
import { fixed } from '../../src/core/text/numbers.ts'
import type { Validation } from '../../src/tools/plan/validate.ts'
import { letters, notes, rowLine, rowsPlane } from '../../src/tools/report/figures/axes.ts'
import { type Body, isNarrow } from '../../src/tools/report/figures/body.ts'
import { scaleOf } from '../../src/tools/report/figures/scale.ts'
import { textWidth, truncate } from '../../src/tools/report/figures/text.ts'
import { type Child, element } from '../../src/tools/report/markup.ts'

/** Rules in addition to the style of figures. */
export const plannerStyle = `.plot .interval80 { fill-opacity: 0.13 } .plot .row-time { fill-opacity: 0.75 }
`

/** Height of a row, and in a narrow figure of the name above it, in pixels. */
const ROW = 17
const NAME = 15

export function plannerBody({ rows, factors }: Pick<Validation, 'rows' | 'factors'>, width: number): Body {
  const narrow = isNarrow(width)
  const times = rows.filter(({ metric }) => metric === 'step time')
  const names = [...new Set(times.map(({ row }) => row.system))]
  const systems = names
    .map((name) => {
      const ratios = times
        .filter(({ row }) => row.system === name)
        .map(({ predictedLeftOut, published }) => predictedLeftOut / published)
      return { name, ratios, middle: median(ratios) }
    })
    .sort((a, b) => a.middle - b.middle)
  const beside = Math.min(0.4 * width, Math.max(...names.map((name) => textWidth(name, letters.text)))) + 12
  const left = narrow ? 8 : beside
  const right = width - 16
  const all = systems.flatMap(({ ratios }) => ratios)
  const reach = Math.max(factors.stepTime, ...all.map((ratio) => Math.max(ratio, 1 / ratio)))
  const x = scaleOf('log', [1 / reach, reach], [left, right], narrow ? 3 : 6)
  const top = 28
  const row = ROW + (narrow ? NAME : 0)
  const bottom = top + row * systems.length
  const [low, high] = [x.at(1 / factors.stepTime), x.at(factors.stepTime)]
  const held = all.filter((ratio) => Math.max(ratio, 1 / ratio) <= factors.stepTime).length
  const small = notes(
    [
      `${times.length} published step times of ${systems.length} systems, each predicted with constants fitted to the other systems.`,
      `Tinted: the 80 % interval of a plan, a factor of ${fixed(factors.stepTime, 2)}. ${held} are in it; the others have another colour.`,
    ],
    width,
    bottom + 48,
  )
  return {
    height: small.end + 2,
    description: `${times.length} published step times of ${systems.length} systems; ${held} are within a factor of ${fixed(factors.stepTime, 2)} of their predictions. Medians of predicted over published reach from ${fixed(systems[0]?.middle, 2)} (${systems[0]?.name}) to ${fixed(systems.at(-1)?.middle, 2)} (${systems.at(-1)?.name}).`,
    markup: [
      element('text', { class: 'side', x: x.at(1) - 8, y: top - 10, 'text-anchor': 'end' }, '← predicted faster'),
      element('text', { class: 'side', x: x.at(1) + 8, y: top - 10 }, 'predicted slower →'),
      rowsPlane(x, 'predicted over published step time', { left, right, top, bottom }, width),
      element('rect', { class: 'f0 interval80', x: low, y: top, width: high - low, height: bottom - top }),
      element('line', { class: 'zero', x1: x.at(1), x2: x.at(1), y1: top, y2: bottom }),
      systems.map(({ name, ratios }, i): Child => {
        const end = top + row * (i + 1)
        const y = end - ROW / 2
        return [
          element(
            'text',
            { class: 'halo', x: 2, y: narrow ? y - NAME + 4 : y + 4 },
            truncate(name, letters.text, narrow ? width : left - 14),
          ),
          ratios.map((ratio) => {
            const outside = Math.max(ratio, 1 / ratio) > factors.stepTime
            return element('circle', { class: `row-time ${outside ? 'f1' : 'f0'}`, cx: x.at(ratio), cy: y, r: 3.5 })
          }),
          rowLine(end, width),
        ]
      }),
      small.markup,
    ],
  }
}
