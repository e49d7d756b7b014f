/** Loads over mean as numbers in cells that have room for them. A dead expert has a cross instead of a zero. */
import { inkOn } from '../../../../src/core/charts/colour.ts'
import { DEAD } from '../expert-load.ts'
import type { Frame } from './frame.ts'
import type { Pixels } from './pixels.ts'
import { loadColor, shareOf } from './scale.ts'

/** Room that a number needs, in pixels of the page. */
export const NUMBER_WIDTH = 36
export const NUMBER_HEIGHT = 15

export const hasNumbers = ({ across, down, ratio }: Pick<Pixels, 'across' | 'down' | 'ratio'>): boolean =>
  across.size >= NUMBER_WIDTH * ratio && down.size >= NUMBER_HEIGHT * ratio

export const numberText = (overMean: number): string =>
  overMean < 9.995 ? overMean.toFixed(2) : overMean < 99.95 ? overMean.toFixed(1) : overMean.toFixed(0)

export function drawNumbers(context: CanvasRenderingContext2D, frame: Frame, pixels: Pixels): void {
  const { across, down, ratio, dark, end } = pixels
  context.font = `${11 * ratio}px system-ui, sans-serif`
  context.textAlign = 'center'
  context.textBaseline = 'middle'
  for (let row = 0; row < frame.rows; row++) {
    const y = down.startOf(row) + down.size / 2
    for (let column = 0; column < frame.columns; column++) {
      const cell = row * frame.columns + column
      const value = frame.values[cell] as number
      if (Number.isNaN(value) || frame.marks[cell] === DEAD) continue
      context.fillStyle = inkOn(loadColor(shareOf(value, end), dark))
      context.fillText(numberText(value), across.startOf(column) + across.size / 2, y)
    }
  }
}
