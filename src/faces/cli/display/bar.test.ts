import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { widthOf } from '../../../core/text/columns.ts'
import { main } from '../program/main.ts'
import { fakeIo } from '../testing/fake.ts'
import { Screen } from '../testing/screen.ts'

const frame = /^ {2}━+─* +7\/20 {3}13s left$/
const metrics = '  loss 5.300   12.3k tok/s   MFU 61 %   drop 3.1 %   c_v 0.42'

/** The screen right after the frame of step 7 (`during`) and at the end, and everything that was written. */
async function train(
  columns: number,
  env = {},
  laterColumns = columns,
  atMost = false,
): Promise<{ during: string[]; after: string[]; raw: string }> {
  let during: string[] = []
  const screen = new Screen(columns, 'reflow')
  let shown = 0
  const show = (): string[] => {
    screen.write(fake.stdout.text.slice(shown))
    shown = fake.stdout.text.length
    return screen.lines
  }
  const fake = fakeIo({ terminal: true, columns, env })
  const { operations } = fake.io
  const slow = {
    ...fake.io,
    operations: {
      ...operations,
      train: (config: Parameters<typeof operations.train>[0], options: Parameters<typeof operations.train>[1]) =>
        operations.train(config, {
          ...options,
          onEvent: (event) => {
            options.onEvent?.(event.kind === 'train' && atMost ? { ...event, mfuAtMost: true } : event)
            if (event.kind !== 'train' || event.step !== 7) return
            options.onEvent?.({ kind: 'warning', message: 'a first word' })
            show()
            if (laterColumns !== columns) {
              screen.resize(laterColumns)
              fake.stdout.resize(laterColumns)
            }
            options.onEvent?.({
              kind: 'warning',
              message: 'a word of warning that needs more than forty columns',
            })
            during = show()
          },
        }),
    },
  }
  expect(await main(['train', 'tiny', '--no-sample'], slow)).toBe(0)
  return { during, after: show(), raw: fake.stdout.text }
}

describe('the live bar', () => {
  test('shows progress and metrics in two lines below all other output', async () => {
    const { during } = await train(80)
    expect(during.at(-3)).toBe('choir: a word of warning that needs more than forty columns')
    expect(during.at(-2)).toMatch(frame)
    expect(during.at(-1)).toBe(metrics)
  })

  test('shows MFU as a bound after a disturbed measurement of the matmul rate', async () => {
    const { during } = await train(80, {}, 80, true)
    expect(during.at(-1)).toBe(metrics.replace('MFU 61 %', 'MFU ≤ 61 %'))
  })

  test('leaves only evaluations and summary on the screen', async () => {
    const { after, raw } = await train(80)
    expect(after.filter((line) => line.includes('━') || line.includes('tok/s'))).toEqual([])
    const evaluation = after.findIndex((line) => line.startsWith('  step 10'))
    expect(after.slice(evaluation, evaluation + 2)).toEqual([
      '  step 10   held-out loss 4.512 (dropless 4.501)   1.712 bits per byte',
      '            drop 1.2 %   c_v 0.41',
    ])
    expect(after.some((line) => /^ {2}held-out loss {2}4\.512 nats a token \(dropless 4\.501\)$/.test(line))).toBe(true)
    // The last sequence about the cursor shows it again.
    expect(raw.lastIndexOf('\x1b[?25h')).toBeGreaterThan(raw.lastIndexOf('\x1b[?25l'))
  })

  test.each([40, 60])('cuts no line that stays on a screen of %d columns', async (columns) => {
    const { after } = await train(columns)
    for (const line of after) expect(widthOf(line), line).toBeLessThanOrEqual(columns)
    const text = after.join(' ').replace(/ +/g, ' ')
    for (const part of [
      'model tiny, 2 layers of width 32, 2 heads, sequence 32, vocabulary 512',
      'a word of warning that needs more than forty columns',
      'step 10 held-out loss 4.512 (dropless 4.501) 1.712 bits per byte drop 1.2 % c_v 0.41',
      'time 20s, to step 20, 2.56k tokens in all',
    ])
      expect(text).toContain(part)
  })

  test('is shown once after the terminal was resized', async () => {
    const { during, after } = await train(80, {}, 50)
    expect(during.filter((line) => /[━─]/.test(line))).toHaveLength(1)
    expect(during.at(-2)).toMatch(/━─* +7\/20 {3}13s left$/)
    expect(after.filter((line) => /[━─]/.test(line))).toEqual([])
  })

  test.each([20, 30, 40, 60])('omits values that do not fit in %d columns', async (columns) => {
    const { during } = await train(columns)
    const [progress = '', values = ''] = during.slice(-2)
    expect(progress).toContain('7/20')
    expect(widthOf(progress)).toBeLessThan(columns)
    expect(values).toContain('loss 5.300')
    expect(widthOf(values)).toBeLessThan(columns)
    expect(metrics.startsWith(values)).toBe(true)
  })

  test('explains its values within 60 columns for a first run, and not for a further one', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'choir-legend-'))
    const shown = async (...args: string[]): Promise<string[]> => {
      const fake = fakeIo({ terminal: true, columns: 60, env: { NO_COLOR: '1' } })
      await main(['train', ...args, '--no-sample', '--out', join(folder, 'run')], fake.io)
      const screen = new Screen(60)
      screen.write(fake.stdout.text)
      return screen.lines
    }
    const explained = [
      '  held-out loss  nats',
      '  bits per byte  the same',
      '  MFU            share',
      '  drop ',
      '  c_v  ',
      '  gate ',
      '  entropy ',
    ]
    const count = (lines: string[], word: string) => lines.filter((line) => line.startsWith(word)).length
    try {
      const [first, demo, dense] = [
        await shown('tiny'),
        await shown('demo'),
        await shown('tiny', '--set', 'model.moe=null'),
      ]
      expect(first.map((line) => line.length).filter((width) => width > 60)).toEqual([])
      const summary = [0, 0, 0, 1, 1, 1, 1]
      expect(explained.map((word) => count(first, word))).toEqual(summary.map((more) => 1 + more))
      expect(first).toContain('                 gzip -9 needs 2.500 for this text')
      expect(first.join()).not.toContain('dense model')
      expect(demo).toContain('                 a dense model of this cost needs 1.439')
      expect(explained.map((word) => count(dense, word))).toEqual([1, 1, 1, 1, 1, 0, 0])
      mkdirSync(join(folder, 'earlier'))
      writeFileSync(join(folder, 'earlier', 'config.json'), '{}')
      const further = await shown('tiny')
      expect(explained.map((word) => count(further, word))).toEqual(summary)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  test('has no colours with NO_COLOR, and is otherwise the same', async () => {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: a colour is a control sequence
    const color = /\x1b\[[\d;]*m/
    expect((await train(80)).raw).toMatch(color)
    const plain = await train(80, { NO_COLOR: '1' })
    expect(plain.raw).not.toMatch(color)
    expect(plain.during.at(-2)).toMatch(frame)
  })

  test('is replaced by plain lines on a dumb terminal', async () => {
    const fake = fakeIo({ terminal: true, env: { TERM: 'dumb' } })
    await main(['train', 'tiny', '--no-sample'], fake.io)
    expect(fake.stdout.text).not.toContain('\x1b')
    expect(fake.stdout.text).toContain('20/20')
  })
})
