import { expect, test } from 'vitest'
import { htmlText } from './html.ts'
import { normalText } from './normal.ts'

const text = (html: string): string => normalText(htmlText(html))

test('the article of a page stays, without menus, scripts, styles, headers of the site and footers', () => {
  const page = `<!DOCTYPE html><html><head><title>Title</title><style>p { color: red }</style></head><body>
    <nav><ul><li><a href="a.html">Next page</a></ul></nav>
    <div class="related">previous | next</div>
    <script>if (a < b) document.write("<p>no</p>")</script>
    <h1>Whales<a class="headerlink" href="#whales">¶</a></h1>
    <p>A whale is
       not a&nbsp;fish.<p>It is &lt;large&gt; &amp; <b>warm</b>-blooded.
    <div role="navigation">Menu</div><footer>Copyright</footer></body></html>`
  expect(text(page)).toBe('Whales\n\nA whale is not a fish.\n\nIt is <large> & warm-blooded.\n')
})

test('if a page names its main part, the rest is left out; if it does not, everything stays', () => {
  expect(text('<body><div>Site of whales</div><main><p>One</p></main><p>Powered by</p>')).toBe('One\n')
  expect(text('<body><p>a</p><div role="main"><p>b</p></div></body>')).toBe('b\n')
  expect(text('<p>a</p><main></main><p>b</p>')).toBe('a\n\nb\n')
})

test('code keeps its lines and indentation, inside paragraphs of prose that are joined', () => {
  const page = `<p>Before
    it:</p><pre><code class="rust">
fn main() {
    println!("{}", a &lt; <span class="number">1</span>);

}
</code></pre><p>After</p>`
  expect(text(page)).toBe('Before it:\n\nfn main() {\n    println!("{}", a < 1);\n\n}\n\nAfter\n')
})

test('lists have bullets or numbers, lists in lists are indented, and the cells of a table are apart', () => {
  const page = `<ul><li><p>one</p></li><li>two<ol start="3"><li>a</li><li>b</li></ol></li></ul>
    <table><tr><th>Name</th><th>Size</th></tr><tr><td>a</td><td>1</td></tr></table>`
  expect(text(page)).toBe('- one\n- two\n  3. a\n  4. b\n\nName  Size\na  1\n')
})

test('a page that is cut off, or whose elements overlap, gives the text that it has', () => {
  expect(text('<main><p>one <b>two <i>three</b> four')).toBe('one two three four\n')
  expect(text('<div><nav><ul><li>menu</div><p>in the menu</p></nav><p>text')).toContain('text')
  expect(text('')).toBe('')
})

test('the type of a parameter is apart from its name', () => {
  expect(
    text(
      '<dl><dt><strong>lower</strong><span class="classifier">int, optional</span></dt><dd><p>A bound.</p></dd></dl>',
    ),
  ).toBe('lower : int, optional\n\nA bound.\n')
})
