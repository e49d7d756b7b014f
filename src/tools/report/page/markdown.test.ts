import { expect, test } from 'vitest'
import { demoReport } from '../testing/demo-report.ts'
import { hostileReport } from '../testing/hostile-report.ts'
import { parseXml } from '../testing/parse-xml.ts'
import { renderMarkdown } from './markdown.ts'

const { markdown, figures } = renderMarkdown(demoReport)

test('a report has a title, facts, the command, and sections with verdicts in a quotation', () => {
  expect(markdown.split('\n').slice(0, 12)).toEqual([
    `# ${demoReport.title}`,
    '',
    ...demoReport.facts.map((fact) => `- ${fact}`),
    '',
    'Made by',
    '',
    '```sh',
    demoReport.command,
    '```',
  ])
  for (const { title, verdicts } of demoReport.sections) {
    expect(markdown).toContain(`## ${title}`)
    for (const verdict of verdicts) expect(markdown).toContain(`> - ${verdict}`)
  }
})

test('tables have equally many cells in every row, aligned like their columns', () => {
  const rows = markdown.split('\n').filter((line) => line.startsWith('|'))
  expect(new Set(rows.map((row) => row.split('|').length))).toEqual(new Set([8]))
  expect(rows.filter((row) => row.startsWith('|---'))).toEqual([
    expect.stringMatching(/^\|-+\|-+\|-+\|-+:\|-+:\|-+:\|$/),
    expect.stringMatching(/^\|-+\|-+:\|-+:\|-+:\|-+:\|-+:\|$/),
  ])
})

test('the opening table precedes its verdicts, with intervals drawn in characters', () => {
  const [table, verdict] = ['| Question', '> - The largest effect'].map((start) => markdown.indexOf(start))
  expect(table).toBeGreaterThan(0)
  expect(verdict).toBeGreaterThan(table ?? 0)
  // On an axis from −0.04 to 0.04, −0.03, −0.02 and −0.01 are characters 4, 6 and 9 of 21.
  const spaces = (n: number) => '\u00a0'.repeat(n)
  expect(markdown).toContain(`\`${spaces(3)}├─●──┤${spaces(1)}│${spaces(10)}\``)
  expect(markdown).toContain('| Top-2 is better (top-2 against top-1)')
})

test('every figure is a file that the text embeds', () => {
  const shown = [...markdown.matchAll(/\]\(figures\/([a-z0-9-]+)\.svg\)/g)].map(([, name]) => name)
  expect(shown).toEqual(Object.keys(figures))
  for (const svg of Object.values(figures)) expect(parseXml(svg)[0]?.name).toBe('svg')
})

test('text from users creates no markup, cell, line or path', () => {
  const hostile = renderMarkdown(hostileReport)
  expect(hostile.markdown.replaceAll(hostileReport.command, '')).not.toMatch(/<script|<\/title/)
  expect(hostile.markdown).toContain(
    '\\| a \\| \\*b\\* \\_c\\_ \\`d\\` \\[e\\](javascript:alert(1)) \\$f\\$ \\~g\\~ \\#h',
  )
  expect(hostile.markdown).toContain('> - \\- list')
  for (const name of Object.keys(hostile.figures)) expect(name).toMatch(/^[a-z0-9-]+$/)
  const table = hostile.markdown.split('\n').filter((line) => line.startsWith('|'))
  const cells = table.map((row) => row.replaceAll('\\|', '').split('|').length)
  expect(new Set(cells)).toEqual(new Set([hostileReport.facts.length + 2]))
})

test('a command with backticks stays whole in its fence', () => {
  const report = { ...demoReport, command: 'echo ```` `x`' }
  expect(renderMarkdown(report).markdown).toContain('`````sh\necho ```` `x`\n`````')
})

test('the same report gives the same bytes', () => {
  expect(renderMarkdown(demoReport)).toEqual({ markdown, figures })
})
