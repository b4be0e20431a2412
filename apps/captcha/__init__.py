"""Reading captchas of four digits (Starter Bundle ch. 21), on captchas made here.

    python -m apps.captcha.generate --to datasets/captchas --count 600
    python -m apps.captcha.label datasets/captchas --to datasets/captcha_digits
    dvc exp run -S recipe=lenet_captcha
    python -m apps.captcha.read --model models:/NAME@champion IMAGES…

The book took its captchas from a toll road's site, years after telling its owner. Nothing here asks any site
for anything: what is learnt is the method, cut and classify, not one site's digits.
"""

# No 0, which a reader confuses with the letter; the book's captchas have none either.
DIGITS = "123456789"
LENGTH = 4
