import { describe, expect, test } from 'vitest'
import { fakeIo } from '../testing/fake.ts'
import { resizings, Screen } from '../testing/screen.ts'
import { LiveLines } from './live-lines.ts'

/** Two lines as wide as a terminal allows, one that is short, and one that is empty. */
const live = (columns: number): string[] => ['━'.repeat(columns - 2), `loss ${'x'.repeat(columns - 8)}`, 'short', '']

describe.each(resizings)('after the terminal was resized (%s)', (resizing) => {
  test.each([
    ['narrower', [60]],
    ['wider', [120]],
    ['narrower several times', [70, 41, 23]],
    ['narrower and wider', [40, 100, 30, 31, 90]],
  ])('%s, the lines are shown once, below all that was printed', (_, widths) => {
    const fake = fakeIo({ terminal: true, columns: 80 })
    const screen = new Screen(80, resizing)
    let written = 0
    const show = (): void => {
      screen.write(fake.stdout.text.slice(written))
      written = fake.stdout.text.length
    }
    fake.stdout.write('the prompt of a shell\n')
    const lines = new LiveLines(fake.io, live, 1)
    let printed = 0
    for (const columns of widths) {
      lines.print(`printed ${++printed}\n`)
      show()
      screen.resize(columns)
      fake.stdout.resize(columns)
      show()
      expect(screen.lines.slice(-4)).toEqual(live(columns))
    }
    lines.print('the last\n')
    show()
    const kept = ['the prompt of a shell', ...widths.map((_, i) => `printed ${i + 1}`), 'the last']
    expect(screen.lines).toEqual([...kept, ...live(widths.at(-1) ?? 0)])
    lines.close()
    show()
    expect(screen.lines).toEqual([...kept, ''])
  })
})
