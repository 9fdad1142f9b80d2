"""A real browser that tests can act in: Chromium over the DevTools protocol.

Keys and mouse go in as real input events, and pictures come out. The protocol
runs over a pair of pipes: no port, no driver, nothing beyond Python.
"""

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import time

NAMES = ('chromium', 'chromium-browser', 'google-chrome')
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = (
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-dev-shm-usage',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  # Nothing may come over a network.
  '--host-resolver-rules=MAP * ~NOTFOUND',
)
MISSING = f'no browser: none of {", ".join(NAMES)} is on the PATH'
TIMEOUT = 120  # Seconds that anything may take.
_KEYS = {
  'ArrowDown': 40,
  'ArrowLeft': 37,
  'ArrowRight': 39,
  'ArrowUp': 38,
  'End': 35,
  'Home': 36,
  'Tab': 9,
}


class Page:
  """One tab, with no network."""

  def __init__(self, to_browser, from_browser):
    self._to, self._from = to_browser, from_browser
    self._read, self._count = b'', 0
    self._target = self._session = None
    self.errors = []  # What was thrown and not caught, and logged as an error.

  def open(self, uri, width=1280, height=900, *, mobile=False):
    """Opens an address in a new tab of a size, in place of the last one."""
    last, self._session = self._target, None
    made = self.send('Target.createTarget', url='about:blank')
    self._target = made['targetId']
    if last:
      self.send('Target.closeTarget', targetId=last)
    made = self.send(
      'Target.attachToTarget', targetId=self._target, flatten=True
    )
    self._session = made['sessionId']
    self.send('Runtime.enable')
    self.send('Log.enable')
    self.send('Page.enable')
    self.size(width, height, mobile=mobile)
    self.send('Page.navigate', url=uri)
    self.until("document.readyState === 'complete'")

  def size(self, width, height, *, mobile=False):
    self.send(
      'Emulation.setDeviceMetricsOverride',
      width=width,
      height=height,
      deviceScaleFactor=1,
      mobile=mobile,
    )

  def run(self, script):
    """The value of a JavaScript expression."""
    found = self.send('Runtime.evaluate', expression=script, returnByValue=True)
    if 'exceptionDetails' in found:
      raise AssertionError(f'{script}: {found["exceptionDetails"]}')
    return found['result'].get('value')

  def until(self, script):
    """Waits until an expression is true, and returns its value."""
    end = time.monotonic() + TIMEOUT
    while not (value := self.run(script)):
      if time.monotonic() > end:
        raise AssertionError(f'never true: {script}; errors: {self.errors}')
      time.sleep(0.05)
    return value

  def key(self, name):
    """Presses and releases a key on whatever has the focus."""
    code = _KEYS[name]
    for kind in ('rawKeyDown', 'keyUp'):
      self.send(
        'Input.dispatchKeyEvent',
        type=kind,
        key=name,
        code=name,
        windowsVirtualKeyCode=code,
      )

  def mouse(self, kind, x, y):
    """'mouseMoved', 'mousePressed' or 'mouseReleased' at a point."""
    down = kind != 'mouseMoved'
    self.send(
      'Input.dispatchMouseEvent',
      type=kind,
      x=x,
      y=y,
      button='left' if down else 'none',
      clickCount=1 if down else 0,
    )

  def click(self, x, y):
    for kind in ('mouseMoved', 'mousePressed', 'mouseReleased'):
      self.mouse(kind, x, y)

  def box(self, selector):
    """(left, top, width, height) of an element, after scrolling to it."""
    return self.run(
      f'(() => {{ const e = document.querySelector({json.dumps(selector)});'
      "e.scrollIntoView({block: 'center', behavior: 'instant'});"
      'const r = e.getBoundingClientRect();'
      'return [r.left, r.top, r.width, r.height]; })()'
    )

  def picture(self, path, *, whole=False):
    """Writes a PNG of the window, or of the whole page."""
    found = self.send('Page.captureScreenshot', captureBeyondViewport=whole)
    path.write_bytes(base64.b64decode(found['data']))

  def send(self, method, **params):
    """Sends a command and returns its result."""
    self._count += 1
    message = {'id': self._count, 'method': method, 'params': params}
    if self._session:
      message['sessionId'] = self._session
    os.write(self._to, json.dumps(message).encode() + b'\0')
    while True:
      found = self._receive()
      if found.get('id') == self._count:
        if 'error' in found:
          raise AssertionError(f'{method}: {found["error"]}')
        return found['result']
      self._event(found)

  def close(self):
    """Ends the browser, and its helpers with it."""
    self._session = None
    self.send('Browser.close')

  def _event(self, found):
    what, params = found.get('method'), found.get('params', {})
    if what == 'Runtime.exceptionThrown':
      self.errors.append(params['exceptionDetails'])
    elif what == 'Log.entryAdded' and params['entry']['level'] == 'error':
      self.errors.append(params['entry'])

  def _receive(self):
    while b'\0' not in self._read:
      if not select.select([self._from], [], [], TIMEOUT)[0]:
        raise AssertionError(f'the browser said nothing for {TIMEOUT} s')
      got = os.read(self._from, 1 << 20)
      if not got:
        raise AssertionError('the browser has gone')
      self._read += got
    message, _, self._read = self._read.partition(b'\0')
    return json.loads(message)


@contextlib.contextmanager
def browser(profile):
  """A Chromium of its own, with an empty profile in a folder: a `Page`."""
  assert BROWSER is not None
  # Chromium reads commands from descriptor 3 and answers on 4.
  command_out, command_in = os.pipe()
  answer_out, answer_in = os.pipe()
  launch = f'exec "$@" 3</dev/fd/{command_out} 4>/dev/fd/{answer_in}'
  process = subprocess.Popen(
    [
      'sh',
      '-c',
      launch,
      'sh',
      BROWSER,
      *FLAGS,
      '--remote-debugging-pipe',
      f'--user-data-dir={profile}',
      'about:blank',
    ],
    pass_fds=(command_out, answer_in),
    stdin=subprocess.DEVNULL,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
  )
  os.close(command_out)
  os.close(answer_in)
  page = Page(command_in, answer_out)
  try:
    yield page
    page.close()
  finally:
    if process.poll() is None:
      with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
    process.kill()
    process.wait(TIMEOUT)
    os.close(command_in)
    os.close(answer_out)
