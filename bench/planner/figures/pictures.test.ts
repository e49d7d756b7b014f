/** The pictures of docs/planner.md and docs/launch.md, against the predictions and the layout that they show. */
import { readFileSync } from 'node:fs'
import { beforeAll, expect, test } from 'vitest'
import { type Program, programs } from '../../../src/tools/plan/inputs/constants.ts'
import { parseXml } from '../../../src/tools/report/testing/parse-xml.ts'
import { textsOutside } from '../../../src/tools/report/testing/text-box.ts'
import { fileIn } from '../../support/results.ts'
import { programOf } from '../accuracy/published.ts'
import { validate } from '../accuracy/validation.ts'
import { docsPictures, example } from './pictures.ts'

const validation = validate()
let drawn: ReturnType<typeof docsPictures>
beforeAll(() => {
  drawn = docsPictures(validation)
})
const elementsOf = (name: string) => parseXml(drawn.find(({ file }) => file === `docs/pictures/${name}.svg`)?.svg ?? '')

test('the committed pictures are what npx tsx bench/planner/figures.ts draws', () => {
  expect(drawn).toHaveLength(4)
  for (const { file, svg } of drawn) expect(readFileSync(fileIn(file), 'utf8') === svg, file).toBe(true)
})

test('every text of a picture is inside its edges', () => {
  for (const { file, svg } of drawn) expect(textsOutside(parseXml(svg)), file).toEqual([])
})

test('each published step time is a dot, in the tint of its class if it is within the interval of a plan', () => {
  const times = validation.rows.filter(({ metric }) => metric === 'step time')
  const within = Object.fromEntries(
    programs.map((program) => {
      const factor = validation.factors[program].stepTime
      const own = times.filter(({ row }) => programOf(row) === program)
      const ratios = own.map(({ predictedLeftOut, published }) => predictedLeftOut / published)
      return [
        program,
        {
          all: own.length,
          held: ratios.filter((r) => Math.abs(Math.log(r)) <= Math.log(factor) + 1e-9).length,
          factor,
        },
      ]
    }),
  )
  for (const name of ['planner', 'planner-narrow']) {
    const elements = elementsOf(name)
    const numbersOf = (found: typeof elements, ...names: string[]) =>
      found.map(({ attributes }) => names.map((name) => Number(attributes[name])))
    const dots = elements.filter((element) => element.name === 'circle')
    expect(dots).toHaveLength(times.length)
    const tints = elements.filter(({ attributes }) => attributes.class?.includes('interval80'))
    for (const [i, [left = 0, top = 0, width = 0, height = 0]] of numbersOf(
      tints,
      'x',
      'y',
      'width',
      'height',
    ).entries()) {
      // A dot on the edge may be half a pixel to either side.
      const inside = (edge: number) =>
        dots.filter(({ attributes }) => {
          const [x, y] = [Number(attributes.cx) - left, Number(attributes.cy) - top]
          return x >= -edge && x <= width + edge && y >= -edge && y <= height + edge
        })
      const tinted = inside(0.5).filter(({ attributes }) => attributes.class?.includes('f0'))
      expect(tinted).toHaveLength(within[programs[i] as Program]?.held as number)
      expect(inside(-0.5).every((dot) => tinted.includes(dot))).toBe(true)
    }
  }
  const systems = new Set(times.map(({ row }) => row.system)).size
  const page = readFileSync(fileIn('docs/planner.md'), 'utf8')
  expect(page).toContain(`each of ${systems} systems`)
  const { megatron, fsdp } = within
  expect(page).toContain(
    `${megatron?.held} of ${megatron?.all} dots of Megatron-like programs and ${fsdp?.held} of ${fsdp?.all} of PyTorch FSDP are within the 80 % interval of a plan, factors of ${megatron?.factor.toFixed(2)} and ${fsdp?.factor.toFixed(2)}`,
  )
})

test('every rank of the layout has a box on its host, and each group of ranks holds every expert once', () => {
  const { layout, expert, experts } = example
  for (const name of ['launch', 'launch-narrow']) {
    const texts = elementsOf(name).flatMap((element) => (element.name === 'text' ? [element.text] : []))
    expect(texts.filter((text) => /^rank \d+$/.test(text))).toEqual(
      Array.from({ length: layout.ranks }, (_, rank) => `rank ${rank}`),
    )
    const held = texts.flatMap((text) => {
      const [, first, last] = /^experts (\d+)–(\d+)$/.exec(text) ?? []
      return first === undefined ? [] : [[Number(first), Number(last)] as const]
    })
    for (let group = 0; group < layout.ranks / expert; group++) {
      const all = held
        .slice(group * expert, (group + 1) * expert)
        .flatMap(([first, last]) => Array.from({ length: last - first + 1 }, (_, i) => first + i))
      expect(all).toEqual(Array.from({ length: experts }, (_, i) => i))
    }
  }
})
