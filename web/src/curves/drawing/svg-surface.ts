/** Draws as SVG text. Names of runs come from files, so all text is escaped. */
import { escapeXml } from '../../../../src/core/text/escape.ts'
import { type Box, fontFamily, type Stroke, type Surface, type TextStyle } from './surface.ts'

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

  text(text: string, x: number, y: number, { color, size, anchor, bold = false, upward = false }: TextStyle): void {
    const place = upward
      ? `transform="translate(${short(x)} ${short(y)}) rotate(-90)"`
      : `x="${short(x)}" y="${short(y)}"`
    const weight = bold ? ' font-weight="600"' : ''
    this.parts.push(
      `<text ${place} font-size="${size}" fill="${escapeXml(color)}" text-anchor="${anchor}"${weight}${/^ /.test(text) ? ' xml:space="preserve"' : ''}>${escapeXml(text)}</text>`,
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
