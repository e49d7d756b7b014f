import { expect, test } from 'vitest'
import { RunError } from '../../../core/errors.ts'
import { jsonInHtml, pageWith } from './share.ts'
import type { SharedRun } from './shared-run.ts'

const template =
  '<title>Choir</title><body><script type="application/json" id="run">null</script><script>code</script></body>'

const hostile = [
  '</script><script>alert(1)</script>',
  '<!--<script>',
  '\u2028\u2029',
  "$& $1 $' $`",
  '"\\',
  ']]>',
  '&lt;',
]

const runNamed = (name: string): SharedRun => ({
  version: 1,
  name,
  state: 'finished',
  note: null,
  step: 1,
  steps: 1,
  facts: [],
  index: { routers: [], experts: 0, steps: [], of: 0 },
  loads: '',
  dropRates: [],
  moments: [],
  found: 0,
  rules: [],
  heldOut: { step: [], loss: [] },
  heldOutPart: null,
  sentence: { reason: name },
})

test.each(hostile)('the name %j neither ends an element nor changes on its way', (name) => {
  const page = pageWith(template, runNamed(name))
  expect(page.match(/<script/g)).toHaveLength(2)
  expect(page.match(/<\/script/g)).toHaveLength(2)
  expect(page).not.toContain('<!--')
  const data = page.slice(page.indexOf('id="run">') + 9, page.indexOf('</script>'))
  expect(data).not.toMatch(/[<\u2028\u2029]/)
  expect(JSON.parse(data)).toEqual(runNamed(name))
})

test('JSON in a page has no sign that a parser of HTML or of old scripts takes for more', () => {
  const text = jsonInHtml(hostile)
  expect(text).not.toMatch(/[<\u2028\u2029]/)
  expect(JSON.parse(text)).toEqual(hostile)
})

test('a title is escaped, and marks that turn text around are replaced', () => {
  expect(pageWith(template, runNamed('a<b>\u202e&'))).toContain(
    '<title>a&lt;b&gt;\ufffd&amp;, the life of its experts</title>',
  )
})

test('another page is refused, with the command that builds it', () => {
  for (const page of ['', '<title>Choir</title>', template + template]) {
    expect(() => pageWith(page, runNamed('a'))).toThrow(RunError)
    expect(() => pageWith(page, runNamed('a'))).toThrow('npm run build')
  }
})
