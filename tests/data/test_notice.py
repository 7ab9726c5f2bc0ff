from __future__ import annotations

import logging

from orbitlite.data.notice import notice


def test_a_notice_is_given_once(caplog):
    logger = logging.getLogger("orbitlite.data.test")
    with caplog.at_level("INFO"):
        for message in ("first fact", "second fact", "first fact"):
            notice(logger, message)
    assert [record.message for record in caplog.records] == ["first fact", "second fact"]
