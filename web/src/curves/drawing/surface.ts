/**
 * A surface to draw curves on: a canvas on the page and for PNG, text for SVG. Both draw the same, so that a download
 * looks like the page. Coordinates are pixels of the surface, from its upper left corner.
 */
import { escapeXml } from '../../../../src/core/text/escape.ts'

export interface Stroke {
  readonly color: string
  readonly width: number
  readonly dash?: readonly number[]
  readonly opacity?: number
}

export interface TextStyle {
  readonly color: string
  readonly size: number
  readonly anchor: 'start' | 'middle' | 'end'
  readonly bold?: boolean
}

export interface Box {
  readonly left: number
  readonly top: number
  readonly width: number
  readonly height: number
}

export interface Surface {
  /** Draws a line through points x, y, x, y… A single point becomes a dot. */
  line(points: readonly number[], stroke: Stroke): void
  area(points: readonly number[], color: string, opacity: number): void
  box(box: Box, color: string): void
  /** Draws a text whose baseline is `y`. */
  text(text: string, x: number, y: number, style: TextStyle): void
  /** Clips the output of `draw` to the box. */
  clipTo(box: Box, draw: () => void): void
}

export const fontFamily = 'system-ui, -apple-system, "Segoe UI", sans-serif'

type Context = CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D

/** Draws on a canvas, in the canvas's own pixels. */
export class CanvasSurface implements Surface {
  private readonly canvas: Context

  constructor(canvas: Context) {
    this.canvas = canvas
  }

  line(points: readonly number[], { color, width, dash = [], opacity = 1 }: Stroke): void {
    const canvas = this.canvas
    canvas.globalAlpha = opacity
    if (points.length === 2) {
      canvas.fillStyle = color
      canvas.beginPath()
      canvas.arc(points[0] as number, points[1] as number, width * 1.2, 0, 2 * Math.PI)
      canvas.fill()
    } else {
      canvas.strokeStyle = color
      canvas.lineWidth = width
      canvas.lineJoin = 'round'
      canvas.setLineDash(dash as number[])
      this.trace(points)
      canvas.stroke()
      canvas.setLineDash([])
    }
    canvas.globalAlpha = 1
  }

  area(points: readonly number[], color: string, opacity: number): void {
    this.canvas.globalAlpha = opacity
    this.canvas.fillStyle = color
    this.trace(points)
    this.canvas.fill()
    this.canvas.globalAlpha = 1
  }

  box({ left, top, width, height }: Box, color: string): void {
    this.canvas.fillStyle = color
    this.canvas.fillRect(left, top, width, height)
  }

  text(text: string, x: number, y: number, { color, size, anchor, bold = false }: TextStyle): void {
    const canvas = this.canvas
    canvas.fillStyle = color
    canvas.font = `${bold ? '600 ' : ''}${size}px ${fontFamily}`
    canvas.textAlign = anchor === 'middle' ? 'center' : anchor
    canvas.fillText(text, x, y)
  }

  clipTo({ left, top, width, height }: Box, draw: () => void): void {
    this.canvas.save()
    this.canvas.beginPath()
    this.canvas.rect(left, top, width, height)
    this.canvas.clip()
    draw()
    this.canvas.restore()
  }

  private trace(points: readonly number[]): void {
    this.canvas.beginPath()
    this.canvas.moveTo(points[0] ?? 0, points[1] ?? 0)
    for (let i = 2; i < points.length; i += 2) this.canvas.lineTo(points[i] as number, points[i + 1] as number)
  }
}

/** Draws as SVG text. Names of runs come from files, so all text is escaped. */
export class SvgSurface implements Surface {
  private readonly width: number
  private readonly height: number
  private readonly parts: string[] = []
  private clips = 0

  constructor(width: number, height: number) {
    this.width = width
    this.height = height
  }

  line(points: readonly number[], { color, width, dash = [], opacity = 1 }: Stroke): void {
    const faint = opacity < 1 ? ` opacity="${opacity}"` : ''
    if (points.length === 2) {
      const [x = 0, y = 0] = points
      this.parts.push(
        `<circle cx="${short(x)}" cy="${short(y)}" r="${short(width * 1.2)}" fill="${escapeXml(color)}"${faint}/>`,
      )
      return
    }
    const dashes = dash.length > 0 ? ` stroke-dasharray="${dash.join(' ')}"` : ''
    const stroke = `stroke="${escapeXml(color)}" stroke-width="${width}" stroke-linejoin="round"${dashes}${faint}`
    this.parts.push(`<polyline points="${joined(points)}" fill="none" ${stroke}/>`)
  }

  area(points: readonly number[], color: string, opacity: number): void {
    this.parts.push(`<polygon points="${joined(points)}" fill="${escapeXml(color)}" opacity="${opacity}"/>`)
  }

  box({ left, top, width, height }: Box, color: string): void {
    const [x, y, w, h] = [left, top, width, height].map(short)
    this.parts.push(`<rect x="${x}" y="${y}" width="${w}" height="${h}" fill="${escapeXml(color)}"/>`)
  }

  text(text: string, x: number, y: number, { color, size, anchor, bold = false }: TextStyle): void {
    const weight = bold ? ' font-weight="600"' : ''
    this.parts.push(
      `<text x="${short(x)}" y="${short(y)}" font-size="${size}" fill="${escapeXml(color)}" text-anchor="${anchor}"${weight}>${escapeXml(text)}</text>`,
    )
  }

  clipTo({ left, top, width, height }: Box, draw: () => void): void {
    const id = `clip${this.clips++}`
    const rectangle = `<rect x="${left}" y="${top}" width="${width}" height="${height}"/>`
    this.parts.push(`<clipPath id="${id}">${rectangle}</clipPath><g clip-path="url(#${id})">`)
    draw()
    this.parts.push('</g>')
  }

  toString(): string {
    const size = `width="${this.width}" height="${this.height}" viewBox="0 0 ${this.width} ${this.height}"`
    const open = `<svg xmlns="http://www.w3.org/2000/svg" ${size} font-family="${escapeXml(fontFamily)}">`
    return `${open}\n${this.parts.join('\n')}\n</svg>\n`
  }
}

const short = (value: number) => String(Number(value.toFixed(2)))
const joined = (points: readonly number[]) => points.map(short).join(' ')
