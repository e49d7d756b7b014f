/** The switch of colours at the top: of the system, light, dark. It turns the setting of TypeDoc, which remembers it. */
const button = document.getElementById('site-colours')
const choices = { os: 'Colours: system', light: 'Colours: light', dark: 'Colours: dark' }

function show() {
  button.textContent = choices[document.documentElement.dataset.theme] ?? choices.os
}

if (button) {
  button.hidden = false
  button.addEventListener('click', () => {
    const names = Object.keys(choices)
    const next = names[(names.indexOf(document.documentElement.dataset.theme) + 1) % names.length]
    const setting = document.getElementById('tsd-theme')
    setting.value = next
    setting.dispatchEvent(new Event('change'))
    show()
  })
  show()
}
