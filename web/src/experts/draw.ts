/**
 * Draws a heat map: colours in one pass over an image, then marks in one path per colour, then numbers. Marks show dead
 * and overloaded experts without colour: a cross and a ring in cells that are large enough, otherwise a solid and a
 * dotted line along the cells.
 */
import { channels, inkOn } from '../../../src/core/charts/colour.ts'
import type { Axis } from './axis.ts'
import { DEAD, OVERLOADED } from './expert-load.ts'
import type { Frame } from './frame.ts'
import { loadColor, shareOf } from './scale.ts'

/** The places and the look of the cells of a frame. */
export interface Pixels {
  readonly across: Axis
  readonly down: Axis
  /** Pixels of the screen per pixel of the page. */
  readonly ratio: number
  readonly dark: boolean
  /** Load over mean at the end of the scale of colours. */
  readonly end: number
}

const STEPS = 192
/** Smaller cells, in pixels of the page, have no room for a cross or a ring. */
const MIN_SIGN_SIZE = 6

/** Room that a number needs, in pixels of the page. */
const NUMBER_WIDTH = 36
const NUMBER_HEIGHT = 15

const hasNumbers = ({ across, down, ratio }: Pick<Pixels, 'across' | 'down' | 'ratio'>): boolean =>
  across.size >= NUMBER_WIDTH * ratio && down.size >= NUMBER_HEIGHT * ratio

export const numberText = (overMean: number): string =>
  overMean < 9.995 ? overMean.toFixed(2) : overMean < 99.95 ? overMean.toFixed(1) : overMean.toFixed(0)

/** Colours as little-endian pixels, one for each step of the scale. */
export function paletteOf(dark: boolean): Uint32Array {
  return Uint32Array.from({ length: STEPS + 1 }, (_, step) => {
    const [red, green, blue] = channels(loadColor((2 * step) / STEPS - 1, dark))
    return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0
  })
}

const stepOf = (overMean: number, end: number) => Math.round((shareOf(overMean, end) * 0.5 + 0.5) * STEPS)

export function draw(context: CanvasRenderingContext2D, frame: Frame, pixels: Pixels, palette: Uint32Array): void {
  const { across, down, ratio } = pixels
  const image = context.createImageData(across.pixels, down.pixels)
  const colors = new Uint32Array(image.data.buffer)
  // Cells that are large enough have a thin line between them.
  const seam = (axis: Axis) => (axis.size >= 6 * ratio ? Math.round(ratio) : 0)
  const seamAcross = seam(across)
  const seamDown = seam(down)
  for (let y = 0; y < down.pixels; y++) {
    const row = down.first[y] as number
    if (row < 0 || down.first[y + seamDown] !== row) continue
    const line = y * across.pixels
    if (y > 0 && down.first[y - 1] === row) {
      colors.copyWithin(line, line - across.pixels, line)
      continue
    }
    for (let x = 0; x < across.pixels; x++) {
      const first = across.first[x] as number
      if (first < 0 || (seamAcross > 0 && across.first[x + seamAcross] !== first)) continue
      let value = 0
      const last = across.last[x] as number
      for (let column = first; column <= last; column++) value += frame.values[row * frame.columns + column] as number
      if (!Number.isNaN(value)) colors[line + x] = palette[stepOf(value / (last - first + 1), pixels.end)] as number
    }
  }
  context.putImageData(image, 0, 0)
  drawMarks(context, frame, pixels)
  if (hasNumbers(pixels)) drawNumbers(context, frame, pixels)
}

function drawMarks(context: CanvasRenderingContext2D, frame: Frame, pixels: Pixels): void {
  const { across, down, ratio, dark, end } = pixels
  const onGround = new Path2D()
  const onColor = new Path2D()
  const dotted = new Path2D()
  const hasSigns = Math.min(across.size, down.size) >= MIN_SIGN_SIZE * ratio
  const reach = Math.min(across.size, down.size) * 0.22
  // The ring is around the number of the cell, if it has one.
  const ring = hasNumbers(pixels)
    ? { x: (NUMBER_WIDTH * ratio) / 2, y: Math.min((NUMBER_HEIGHT * ratio) / 2 + 3 * ratio, down.size / 2 - ratio) }
    : { x: reach, y: reach }
  for (let row = 0; row < frame.rows; row++) {
    const middle = down.startOf(row) + down.size / 2
    for (let column = 0; column < frame.columns; column++) {
      const cell = row * frame.columns + column
      const mark = frame.marks[cell]
      if (mark === 0) continue
      const x = across.startOf(column) + across.size / 2
      if (hasSigns && mark === DEAD) {
        onColor.moveTo(x - reach, middle - reach)
        onColor.lineTo(x + reach, middle + reach)
        onColor.moveTo(x + reach, middle - reach)
        onColor.lineTo(x - reach, middle + reach)
      } else if (hasSigns && mark === OVERLOADED) {
        const path = Math.abs(shareOf(frame.values[cell] as number, end)) > 2 / 3 ? onColor : onGround
        path.moveTo(x + ring.x, middle)
        path.ellipse(x, middle, ring.x, ring.y, 0, 0, 2 * Math.PI)
      } else {
        let last = column
        while (last + 1 < frame.columns && frame.marks[row * frame.columns + last + 1] === mark) last++
        const path = mark === DEAD ? onColor : dotted
        path.moveTo(across.startOf(column), middle)
        path.lineTo(across.startOf(last) + across.size, middle)
        column = last
      }
    }
  }
  const [ground, contrast] = dark ? ['#ffffffd0', '#000000c0'] : ['#000000b0', '#ffffffe0']
  context.lineWidth = ratio
  context.strokeStyle = contrast
  context.stroke(onColor)
  context.strokeStyle = ground
  context.stroke(onGround)
  context.setLineDash([ratio, 2 * ratio])
  context.stroke(dotted)
  context.setLineDash([])
}

/** Loads over mean in cells that have room for them. A dead expert has a cross instead of a zero. */
function drawNumbers(context: CanvasRenderingContext2D, frame: Frame, pixels: Pixels): void {
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
