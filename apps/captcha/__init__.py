"""Reading captchas of four digits (Starter Bundle ch. 21), on captchas generated here.

    python -m apps.captcha.generate --to datasets/captchas --count 600
    python -m apps.captcha.label datasets/captchas --to datasets/captcha_digits
    dvc exp run -S recipe=lenet_captcha
    python -m apps.captcha.read --model models:/NAME@champion IMAGES…

The book downloaded its captchas from a toll road's site, a year after it had informed the owner. This
application contacts no site: it shows the method, segment and classify, and not the digits of one site.
"""

# Without 0, which people confuse with the letter; the book's captchas have none either.
DIGITS = "123456789"
LENGTH = 4
