import { describe, expect, test } from 'vitest'
import { main } from '../main.ts'
import { fakeIo } from '../testing/fake.ts'
import { widthOf } from '../text-layout.ts'

/**
 * Lines that a terminal shows after `text`. Emulates only the sequences that the bar uses (colours, columns, moving
 * up, clearing), and cuts lines at the terminal's width, since the bar turns wrapping off.
 */
function screen(text: string, columns: number): string[] {
  const lines: string[][] = [[]]
  let x = 0
  let y = 0
  // biome-ignore lint/suspicious/noControlCharactersInRegex: terminal sequences are control characters
  for (const [token, , parameters, command] of text.matchAll(/(\x1b\[([?\d;]*)([A-Za-z]))|[\s\S]/gu)) {
    const n = Number(parameters || 1)
    const line = lines[y] ?? []
    lines[y] = line
    if (command === 'G') x = n - 1
    else if (command === 'A') y -= n
    else if (command === 'B') y += n
    else if (command === 'J') {
      line.length = Math.min(line.length, x)
      lines.length = y + 1
    } else if (command === 'K') line.length = parameters === '2' ? 0 : Math.min(line.length, x)
    else if (command !== undefined) {
      expect(['m', 'h', 'l']).toContain(command)
    } else if (token === '\n') {
      y++
      x = 0
    } else if (token === '\r') x = 0
    else {
      while (line.length < x) line.push(' ')
      line[Math.min(x, columns - 1)] = token
      x++
    }
  }
  return lines.map((line) => (line ?? []).join('').trimEnd())
}

const frame = /^ {2}━+─* +7\/20 {3}13s left$/
const metrics = '  loss 5.300   12.3k tok/s   MFU 61 %   drop 3.1 %   c_v 0.42'

/** The screen right after the frame of step 7, and at the end. */
async function train(columns: number, env = {}): Promise<{ during: string[]; after: string[]; raw: string }> {
  let during: string[] = []
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
            options.onEvent?.(event)
            if (event.kind === 'train' && event.step === 7) {
              options.onEvent?.({ kind: 'warning', message: 'a word' })
              during = screen(fake.stdout.text, columns)
            }
          },
        }),
    },
  }
  expect(await main(['train', 'tiny', '--no-sample'], slow)).toBe(0)
  return { during, after: screen(fake.stdout.text, columns), raw: fake.stdout.text }
}

describe('the live bar', () => {
  test('shows progress and metrics in two lines below all other output', async () => {
    const { during } = await train(80)
    expect(during.at(-3)).toBe('choir: a word')
    expect(during.at(-2)).toMatch(frame)
    expect(during.at(-1)).toBe(metrics)
  })

  test('leaves only evaluations and summary on the screen', async () => {
    const { after, raw } = await train(80)
    expect(after.filter((line) => line.includes('━') || line.includes('tok/s'))).toEqual([])
    // Drop rate and c_v do not fit.
    expect(after).toContain('  step 10   held-out loss 4.512 (dropless 4.501)   1.712 bits per byte')
    expect(after.some((line) => /^ {2}held-out loss {2}4\.512 nats a token \(dropless 4\.501\)$/.test(line))).toBe(true)
    // The last sequences restore the cursor and line wrapping.
    expect(raw.lastIndexOf('\x1b[?25h')).toBeGreaterThan(raw.lastIndexOf('\x1b[?25l'))
    expect(raw.lastIndexOf('\x1b[?7h')).toBeGreaterThan(raw.lastIndexOf('\x1b[?7l'))
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

  test('NO_COLOR removes the colours and keeps the bar', async () => {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: a colour is a control sequence
    const color = /\x1b\[[\d;]*m/
    expect((await train(80)).raw).toMatch(color)
    const plain = await train(80, { NO_COLOR: '1' })
    expect(plain.raw).not.toMatch(color)
    expect(plain.during.at(-2)).toMatch(frame)
  })

  test('a dumb terminal gets plain lines', async () => {
    const fake = fakeIo({ terminal: true, env: { TERM: 'dumb' } })
    await main(['train', 'tiny', '--no-sample'], fake.io)
    expect(fake.stdout.text).not.toContain('\x1b')
    expect(fake.stdout.text).toContain('20/20')
  })
})
