/** The picture of docs/routing.md against the recorded runs, which are read here in plain loops. */
import { readFileSync } from 'node:fs'
import { unzlibSync } from 'fflate'
import { beforeAll, expect, test } from 'vitest'
import { parseXml } from '../../../src/tools/report/testing/parse-xml.ts'
import { textsOutside } from '../../../src/tools/report/testing/text-box.ts'
import { fileIn } from '../../support/results.ts'
import { routingPictures } from './pictures.ts'
import { type RoutingRecord, routingRecord } from './record.ts'

let record: RoutingRecord
let drawn: ReturnType<typeof routingPictures>
beforeAll(async () => {
  record = await routingRecord()
  drawn = routingPictures(record)
})

test('the committed pictures are what npx tsx bench/pages/routing.ts --draw makes from the recorded runs', () => {
  expect(drawn).toHaveLength(2)
  for (const { file, svg } of drawn) expect(readFileSync(fileIn(file), 'utf8') === svg, file).toBe(true)
})

test('every text of a picture is inside its edges', () => {
  for (const { file, svg } of drawn) expect(textsOutside(parseXml(svg)), file).toEqual([])
})

test('each of eight tokens has a line to one expert, to two, or to one of each prototype', () => {
  for (const { svg } of drawn) {
    const lines = parseXml(svg).filter(({ attributes }) => attributes.class?.startsWith('choice '))
    expect(lines).toHaveLength(8 * (1 + 2 + 2))
  }
  const { experts } = record.runs['prototypes-2x1'].text
  for (const chosen of experts) for (const [i, expert] of chosen.entries()) expect(Math.floor(expert / 8)).toBe(i % 2)
  for (const chosen of record.runs['top-2'].text.experts)
    for (let t = 0; t < 8; t++) expect(chosen[2 * t]).not.toBe(chosen[2 * t + 1])
})

test('docs/routing.md and the picture state the loads of the overloaded expert as they were recorded', () => {
  const { loads, index } = record.runs['no-balancing']
  const bytes = unzlibSync(Buffer.from(loads, 'base64'))
  const counts = bytes.length / 4
  const at = (i: number) => [0, 1, 2, 3].reduce((sum, byte) => sum + (bytes[byte * counts + i] ?? 0) * 256 ** byte, 0)
  const begin = ((index.steps.length - 1) * 4 + 1) * 2 * 16
  const [chosen, kept] = [at(begin + 4), at(begin + 16 + 4)]
  expect([chosen, kept]).toEqual([863, 80])
  const guide = readFileSync(fileIn('docs/routing.md'), 'utf8')
  expect(guide).toContain(`expert 4 is chosen by ${chosen} of 1,024 tokens, computes ${kept} and refuses the others`)
  for (const { svg } of drawn) expect(svg).toContain(`${chosen} of 1,024 tokens choose expert 4`)
})
